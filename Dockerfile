# Two stages: build with compilers, Node and the network; run without them, as nobody in particular.
FROM node:20-bookworm-slim AS node

FROM python:3.11-slim-bookworm AS build
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=node /usr/local/lib/node_modules /usr/local/lib/node_modules
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm \
    && apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY . .
ENV MA_DATA_DIR=/app/var
RUN make install && rm -rf node_modules

FROM python:3.11-slim-bookworm
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/* \
    && useradd --system --create-home --uid 10001 avatars
WORKDIR /app
COPY --from=build --chown=avatars:avatars /app /app
USER avatars
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 MA_HOST=0.0.0.0 MA_PORT=8000 MA_DATA_DIR=/app/var MA_LOG_FORMAT=json
EXPOSE 8000
VOLUME /app/var
HEALTHCHECK --interval=15s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['MA_PORT'] + '/health/ready', timeout=2)"]
CMD ["machineavatars", "serve"]
