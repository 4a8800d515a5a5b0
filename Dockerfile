# The service as an image; `docker compose up` builds and runs it. Models are mounted, not copied in.
# One image for CPU and GPU: torch's wheels bring CUDA along, the driver is the host's.

# The locked dependencies: wheels alone, so no compiler is needed, and the environment has no pip of its own.
# The second stage continues this one: to copy the environment into a bare base takes 95 s and 6 GB more.
FROM python:3.11-slim AS dependencies
COPY requirements/serve.txt /opt/serve.txt
# Some 3 GB are fetched; a download that breaks in the middle is what the second and third try are for.
RUN python -m venv --without-pip /opt/venv \
    && for attempt in 1 2 3; do \
        pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check --progress-bar off \
            --retries 10 --timeout 60 --only-binary :all: --require-hashes -r /opt/serve.txt && exit 0; \
        sleep 10; \
    done; exit 1

FROM dependencies AS service
# A name for the uid: libraries that look up the user's name (torch does) fail without one.
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin rendersight
# HOME is the one folder that may be written when the root file system is read-only.
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    RENDERSIGHT_HOST=0.0.0.0 \
    RENDERSIGHT_PORT=8000
WORKDIR /srv/rendersight
COPY LICENSE ./
COPY rendersight ./rendersight
COPY model_store ./model_store
COPY app ./app
# A named volume that is mounted here takes over the owner.
RUN install -d -o 10001 -g 10001 /cache
# The user may read it also where the files were checked out for their owner alone (umask 077).
RUN chmod -R a+rX .
USER 10001:10001
EXPOSE 8000
# http.client, because a proxy configured for the container must not stand between it and itself.
HEALTHCHECK --interval=10s --timeout=5s --start-period=180s --retries=3 CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['RENDERSIGHT_PORT']), timeout=4); c.request('GET', '/readyz'); sys.exit(c.getresponse().status != 200)"]
CMD ["python", "-m", "app"]
