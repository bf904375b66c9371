# The app on the weights that travel with the code, as the builder of Hugging Face Spaces sets it up: Debian, the packages of
# packages.txt, another user than root, a checkout that cannot be written. No container engine was there to try this file;
# tests/test_installation.py starts the app in the same circumstances.
#
#   docker build -t bonefx . && docker run --rm -p 7860:7860 bonefx
FROM python:3.12-slim
WORKDIR /app
COPY packages.txt .
RUN apt-get update && xargs -r apt-get install -y --no-install-recommends < packages.txt && rm -rf /var/lib/apt/lists/*
COPY . .
# The light way. For weights without a graph, and for a GPU: pip install -r requirements.txt
RUN pip install --no-cache-dir .
RUN useradd --uid 1000 visitor
USER visitor
ENV BONEFX_HUB=off GRADIO_SERVER_NAME=0.0.0.0
EXPOSE 7860
CMD ["python", "app.py"]
