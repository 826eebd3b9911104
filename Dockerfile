# The image of servers and of workers; the command says which of the two it becomes.
#   docker build --tag factflow:0.1.0 .

FROM python:3.11-slim AS build
ENV UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=/opt/factflow UV_LINK_MODE=copy
WORKDIR /source
COPY pyproject.toml ./
RUN uv="$(sed -nE 's/^ *"(uv==[0-9.]+)",?$/\1/p' pyproject.toml | head -n 1)" \
    && pip install --no-cache-dir --disable-pip-version-check "$uv"
COPY backend/packages backend/packages
# The exact versions stand in pyproject.toml. `otel` is what traces need.
RUN uv sync --no-cache --no-dev --no-editable --compile-bytecode --python /usr/local/bin/python \
    --package factflow-cli --package factflow-server --extra otel

FROM python:3.11-slim
RUN groupadd --system --gid 10001 factflow \
    && useradd --system --uid 10001 --gid factflow --home-dir /var/lib/factflow --create-home factflow
COPY --from=build /opt/factflow /opt/factflow
# The root file system may be read-only: byte code was compiled above, data has a folder of its own.
ENV PATH=/opt/factflow/bin:$PATH PYTHONDONTWRITEBYTECODE=1 FACTFLOW_DATA_DIR=/var/lib/factflow
USER 10001:10001
WORKDIR /var/lib/factflow
EXPOSE 8000
ENTRYPOINT ["factflow"]
CMD ["serve"]
