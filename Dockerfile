# Two images from one build: `--target server` and `--target operator`.
#
# The build stage compiles the server with mypyc into a wheel; the image stages hold only Python, that wheel and
# what it needs. Both run as user 10001 and need no writable root file system: the server writes to /data only.
#   docker build --target server -t redoubt-server:0.1.0 .
#   docker build --target operator -t redoubt-operator:0.1.0 .
# BASE is any Debian-like image with apt or with python3 >= 3.11, pip and venv already in it.

ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN command -v cc >/dev/null && test -e "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" \
 || { apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev \
      $(command -v /usr/bin/python3 >/dev/null && echo python3-dev python3-venv) && rm -rf /var/lib/apt/lists/*; }
WORKDIR /build
RUN python3 -m venv /build/venv && /build/venv/bin/pip install 'setuptools>=77' wheel 'mypy[mypyc]>=1.15'
COPY pyproject.toml setup.py README.md LICENSE ./
COPY server server
COPY operator operator
RUN REDOUBT_MYPYC=1 /build/venv/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /build/dist .
RUN python3 -m venv /opt/redoubt-server \
 && /opt/redoubt-server/bin/pip install "$(echo /build/dist/redoubt-*.whl)[server]" \
 && /opt/redoubt-server/bin/pip uninstall -y pip setuptools
RUN python3 -m venv /opt/redoubt-operator \
 && /opt/redoubt-operator/bin/pip install "$(echo /build/dist/redoubt-*.whl)[operator]" \
 && /opt/redoubt-operator/bin/pip uninstall -y pip setuptools

FROM ${BASE} AS server
LABEL org.opencontainers.image.title="redoubt-server" \
      org.opencontainers.image.description="Redis-compatible in-memory data store" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/redoubt-server /opt/redoubt-server
ENV PATH=/opt/redoubt-server/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
RUN mkdir -p /data && chown 10001:10001 /data
WORKDIR /data
VOLUME /data
USER 10001:10001
EXPOSE 6379 16379 9121
ENTRYPOINT ["redoubt-server"]

FROM ${BASE} AS operator
LABEL org.opencontainers.image.title="redoubt-operator" \
      org.opencontainers.image.description="Kubernetes operator of Redoubt clusters" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/redoubt-operator /opt/redoubt-operator
ENV PATH=/opt/redoubt-operator/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["redoubt-operator"]
