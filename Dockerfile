# Two images from one build: `--target server` and `--target operator`.
#
# The server's wheel is compiled by mypyc; the operator's is not, since it parses a few hundred replies a second and
# the compiled modules would cost it memory. The image stages hold Python, one virtual environment without pip, and
# nothing else. Both run as user 10001 and need no writable root file system: the server writes to /data only.
#   docker build --target server -t redoubt-server:0.1.0 .
#   docker build --target operator -t redoubt-operator:0.1.0 .
# BASE      any Debian-like image with apt, or with python3 >= 3.11, its headers, pip, venv and a C compiler in it
# REVISION  the abbreviated commit, for `redoubt-server --version` (the build sees no .git)
# OPT_LEVEL of the C compiler; 1 builds in two thirds of the time

ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS tools
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN command -v cc >/dev/null && test -e "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" \
 || { apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev \
      $(test -x /usr/bin/python3 && echo python3-dev python3-venv) && rm -rf /var/lib/apt/lists/*; }
WORKDIR /build
RUN python3 -m venv venv && venv/bin/pip install 'pip>=23' 'setuptools>=77' wheel 'mypy[mypyc]>=1.15'
# The dependencies alone: this layer is kept until pyproject.toml changes. The compiler reads the server's types, too.
COPY pyproject.toml tools/extra ./
RUN venv/bin/python extra server | venv/bin/pip install -r /dev/stdin \
 && for extra in server operator; do \
      python3 -m venv --without-pip "/opt/redoubt-$extra" \
      && venv/bin/python extra "$extra" > "$extra.txt" \
      && venv/bin/pip --python "/opt/redoubt-$extra/bin/python" install -r "$extra.txt" || exit 1; \
    done
COPY setup.py README.md LICENSE ./
COPY server server
COPY operator operator

FROM tools AS compiled
ARG REVISION=00000000
ARG OPT_LEVEL=2
RUN REDOUBT_REVISION=${REVISION} REDOUBT_MYPYC=1 REDOUBT_OPT_LEVEL=${OPT_LEVEL} \
    venv/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && venv/bin/pip --python /opt/redoubt-server/bin/python install --no-deps dist/*.whl

FROM tools AS interpreted
ARG REVISION=00000000
# The client's thousand generated models are never imported: without their bytecode the image is 25 MB smaller.
RUN REDOUBT_REVISION=${REVISION} venv/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && venv/bin/pip --python /opt/redoubt-operator/bin/python install --no-deps dist/*.whl \
 && find /opt/redoubt-operator -path '*/kubernetes/*client/models/__pycache__' -exec rm -rf {} +

FROM ${BASE} AS server
LABEL org.opencontainers.image.title="redoubt-server" \
      org.opencontainers.image.description="Redis-compatible in-memory data store" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=compiled /opt/redoubt-server /opt/redoubt-server
ENV PATH=/opt/redoubt-server/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
RUN mkdir -p /data && chown 10001:10001 /data
WORKDIR /data
VOLUME /data
USER 10001:10001
EXPOSE 6379 16379 9121
ENTRYPOINT ["redoubt-server"]
# Without arguments of its own a container keeps its data within three fifths of its memory limit.
CMD ["--maxmemory-container-percent", "60"]

FROM ${BASE} AS operator
LABEL org.opencontainers.image.title="redoubt-operator" \
      org.opencontainers.image.description="Kubernetes operator of Redoubt clusters" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=interpreted /opt/redoubt-operator /opt/redoubt-operator
ENV PATH=/opt/redoubt-operator/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["redoubt-operator"]
