# The context holds one file, the static binary: bin/linux/holmesgpt-api
#   CGO_ENABLED=0 GOOS=linux go build -trimpath -ldflags=-s -o CONTEXT/bin/linux/holmesgpt-api ./cmd/holmesgpt-api
#   podman build -f docker/holmesgpt-api.Dockerfile -t localhost/kubernaut-holmesgpt-api:dev CONTEXT
FROM scratch
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Kubernaut investigation API" \
      org.opencontainers.image.description="Finds the root cause of a Kubernetes incident and the workflow that remedies it" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      ai.kubernaut.service="holmesgpt-api"
COPY bin/linux/holmesgpt-api /usr/local/bin/holmesgpt-api
# Numeric, so that runAsNonRoot can be checked without an /etc/passwd.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/holmesgpt-api"]
