# The server alone: PostgreSQL and Redis are named by URL (docs/operating.md).
ARG BASE=docker.io/library/python:3.13-slim-bookworm

FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements/image.lock requirements/
# Every wheel is checked against its hash here; the steps below take from /wheels and nowhere else.
RUN pip download --require-hashes --no-deps --only-binary :all: -r requirements/image.lock -d /wheels \
    && pip install --require-hashes --no-index --find-links /wheels -r requirements/image.lock
COPY . .
# The environment gets what the wheel of echo_ws asks for. What built it stays behind with this stage, and so does pip.
RUN pip wheel --no-deps --no-build-isolation -w /wheels . \
    && python -m venv --without-pip /opt/echo_ws \
    && pip --python /opt/echo_ws/bin/python install --no-index --find-links /wheels /wheels/echo_ws-*.whl

FROM ${BASE}
LABEL org.opencontainers.image.title="echo_ws" \
      org.opencontainers.image.description="An async WebSocket chat server" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/echo_ws /opt/echo_ws
ENV PATH=/opt/echo_ws/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 ECHO_HOST=0.0.0.0
WORKDIR /
USER 10001:10001
EXPOSE 8765
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["echo-ws", "healthcheck"]
ENTRYPOINT ["echo-ws"]
CMD ["serve"]
