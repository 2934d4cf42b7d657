# objbench in a container: docker build -t objbench . && docker run --rm -v "$PWD/data:/data" -v "$PWD/runs:/runs" objbench --help
# For a GPU: docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 -t objbench . and docker run --gpus all
FROM python:3.13-slim
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /src
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" torch
COPY pyproject.toml README.md CHANGELOG.md LICENSE NOTICE benchmarks.yaml ./
COPY objbench objbench
COPY objmae objmae
RUN pip install --no-cache-dir ".[fast]"
ENV OBJBENCH_DATA=/data OBJBENCH_RUNS=/runs
WORKDIR /work
ENTRYPOINT ["objbench"]
