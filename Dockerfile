# The image of one service: docker build --build-arg SERVICE=sales --tag crm-sales .
#
# SERVICE is a folder of services/. Each service has an image of its own, so that it holds no more than this service
# needs: Faust, for instance, is in that of analytics alone.
#
# Images are pinned by their exact tag, here and in docker-compose.yml. A tag can be moved; where that matters, append
# the digest that your registry reports: name:tag@sha256:...

FROM astral/uv:0.13.9 AS uv

FROM python:3.11.17-slim AS builder
ARG SERVICE
COPY --from=uv /uv /usr/local/bin/uv
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never \
    VIRTUAL_ENV=/opt/crm
WORKDIR /build
RUN uv venv "$VIRTUAL_ENV"
COPY pyproject.toml requirements.lock ./
COPY libs/events/pyproject.toml libs/events/
COPY libs/platform/pyproject.toml libs/platform/
COPY services/${SERVICE}/pyproject.toml services/${SERVICE}/
# First which packages this service needs, at the versions of the lock; then those, and nothing whose hash is not in the
# lock. A package that the lock lacks has no hash, and so ends the build. The lock is that of the whole workspace:
# installing all of it would bring the test tools and the database servers of the local stack.
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip compile --quiet --no-header --no-annotate --constraints requirements.lock \
        --no-emit-package crm-events --no-emit-package crm-platform \
        --output-file needed.txt "services/${SERVICE}/pyproject.toml" \
    && uv pip install --require-hashes --no-build --no-deps --requirements needed.txt --constraints requirements.lock
COPY libs/events libs/events
COPY libs/platform libs/platform
COPY services/${SERVICE} services/${SERVICE}
# uv builds the workspace's own packages by itself; offline, so that no unlocked build tool can come in.
RUN uv pip install --offline --no-deps ./libs/events ./libs/platform "./services/${SERVICE}"

FROM python:3.11.17-slim
COPY --from=builder /opt/crm /opt/crm
COPY deploy/docker/probe.py /opt/crm/probe.py
ENV PATH=/opt/crm/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONSAFEPATH=1 \
    CRM_HOST=0.0.0.0 \
    CRM_PORT=8000 \
    HOME=/tmp
WORKDIR /tmp
# A number, so that an orchestrator can tell that it is not root.
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-I", "/opt/crm/probe.py", "/livez"]
# Run with a module and its role: crm_sales all. No shell stands between, so that SIGTERM reaches Python.
ENTRYPOINT ["python", "-m"]
