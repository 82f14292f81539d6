# The context holds one file, the static binary: bin/linux/datastorage
#   CGO_ENABLED=0 GOOS=linux go build -trimpath -ldflags=-s -o CONTEXT/bin/linux/datastorage ./cmd/datastorage
#   podman build -f docker/datastorage.Dockerfile -t localhost/kubernaut-datastorage:dev CONTEXT
FROM scratch
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Kubernaut Data Storage" \
      org.opencontainers.image.description="Keeps the audit trail, the workflow catalog and the evidence bundles" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      ai.kubernaut.service="datastorage"
COPY bin/linux/datastorage /usr/local/bin/datastorage
# Numeric, so that runAsNonRoot can be checked without an /etc/passwd.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/datastorage"]
