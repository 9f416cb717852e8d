# docker build -t paddock . && docker run --rm paddock
# Trains the quickstart on the CPU. Another command goes behind the image's name, and a volume keeps
# what it writes:
#   docker run --rm -v paddock-runs:/paddock/runs paddock python run.py model=sasrec dataset=tiny
FROM python:3.11-slim AS base

# scikit-learn and torch share their threads through libgomp, which the slim image lacks.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid 1000 paddock \
    && mkdir -p /paddock/runs /opt/venv \
    && chown -R paddock:paddock /paddock /opt/venv
USER paddock
WORKDIR /paddock

ENV VIRTUAL_ENV=/opt/venv \
    PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv "$VIRTUAL_ENV"

# The usual build of torch brings CUDA with it, gigabytes of it. Its makers keep builds for CPUs in an
# index of their own: --build-arg TORCH_OPTIONS="--index-url ADDRESS" takes one.
ARG TORCH_OPTIONS=""
COPY --chown=paddock:paddock constraints.txt ./
RUN pip install --constraint constraints.txt torch $TORCH_OPTIONS

# The dependencies by themselves, so that a change of the code installs none of them again. Those of
# [cluster] among them: a study on many machines is kept in PostgreSQL.
COPY --chown=paddock:paddock pyproject.toml README.md ./
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print(*project['dependencies'], *project['optional-dependencies']['cluster'], sep='\n')" \
        > /tmp/requirements.txt \
    && pip install --constraint constraints.txt --requirement /tmp/requirements.txt \
    && rm /tmp/requirements.txt

COPY --chown=paddock:paddock . .
RUN pip install --no-deps --editable .

CMD ["python", "run.py", "experiment=quickstart"]

# With the tools of `make lint`, `make test` and `make docs`, for .devcontainer.
FROM base AS dev
USER root
RUN apt-get update \
    && apt-get install -y --no-install-recommends chromium git make \
    && rm -rf /var/lib/apt/lists/*
USER paddock
RUN pip install --constraint constraints.txt --editable '.[dev]'

# MLflow's server, with its artifacts in S3 or what speaks like it: see deploy/compose.yaml.
FROM base AS server
RUN pip install --constraint constraints.txt boto3
CMD ["mlflow", "server", "--host=0.0.0.0"]

# What `docker build` makes where no target is named.
FROM base AS run
