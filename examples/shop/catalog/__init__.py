"""Products and the offers whose prices follow from them."""
