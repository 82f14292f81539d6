# The context holds one file, the static binary: bin/linux/aianalysis
#   CGO_ENABLED=0 GOOS=linux go build -trimpath -ldflags=-s -o CONTEXT/bin/linux/aianalysis ./cmd/aianalysis
#   podman build -f docker/aianalysis.Dockerfile -t localhost/kubernaut-aianalysis:dev CONTEXT
FROM scratch
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Kubernaut AIAnalysis controller" \
      org.opencontainers.image.description="Turns Kubernetes incidents into audited decisions" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      ai.kubernaut.service="aianalysis"
COPY bin/linux/aianalysis /usr/local/bin/aianalysis
# Numeric, so that runAsNonRoot can be checked without an /etc/passwd.
USER 65532:65532
EXPOSE 9090 8081
ENTRYPOINT ["/usr/local/bin/aianalysis"]
