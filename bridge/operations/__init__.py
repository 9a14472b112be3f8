"""Operations: what people and the process do with an installed bridge, beside delivering."""
