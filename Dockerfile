# Commit Bridge's image: runs `bridge run` as an unprivileged user and contains none of your code.
# See docs/howto/docker.md.
#
#   docker build -t commit-bridge .                          the bridge
#   docker build -t commit-bridge-shop --target shop .       the example shop's code, for compose.yaml

ARG BASE=python:3.13-slim

FROM ${BASE} AS builder
WORKDIR /src
# The version of uv that scripts/setup uses. uv only reads the lock file. pip installs the packages, so only pip's
# settings matter.
RUN python3 -m venv /uv && /uv/bin/pip install --no-cache-dir uv==0.13.9
COPY pyproject.toml uv.lock ./
RUN /uv/bin/uv export --quiet --frozen --no-emit-project --extra redis --output-file requirements.txt \
    && python3 -m venv /opt/bridge \
    && /opt/bridge/bin/pip install --no-cache-dir --require-hashes --requirement requirements.txt
COPY README.md LICENSE triggers.sql ./
COPY bridge bridge
COPY django_app django_app
RUN /opt/bridge/bin/pip install --no-cache-dir --no-deps .

FROM builder AS shop-builder
RUN /uv/bin/uv export --quiet --frozen --no-emit-project --extra redis --extra django --output-file requirements.txt \
    && /opt/bridge/bin/pip install --no-cache-dir --require-hashes --requirement requirements.txt

FROM ${BASE} AS runtime
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin bridge
# Put your code in /app if the bridge is to use your Celery app.
ENV PATH=/opt/bridge/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1
WORKDIR /app
# A number, since Kubernetes' runAsNonRoot can't check a name.
USER 10001:10001
STOPSIGNAL SIGTERM

FROM runtime AS shop
COPY --from=shop-builder /opt/bridge /opt/bridge
COPY examples/shop /app
EXPOSE 8000

FROM runtime AS bridge
COPY --from=builder /opt/bridge /opt/bridge
ENV BRIDGE_HTTP=0.0.0.0:8090
EXPOSE 8090
# Not urllib: it would send the request for our own loopback address to the proxy in HTTP_PROXY, which Docker can set.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD ["python3", "-c", "import http.client, os, sys; port = int(os.environ['BRIDGE_HTTP'].rpartition(':')[2]); client = http.client.HTTPConnection('127.0.0.1', port, timeout=3); client.request('GET', '/healthz'); sys.exit(client.getresponse().status != 200)"]
# There is no entry point, so that `docker run commit-bridge bridge status` looks like the command on any machine.
CMD ["bridge", "run"]
