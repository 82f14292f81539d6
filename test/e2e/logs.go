package e2e

import (
	"context"
	"fmt"
	"net/url"
)

// Logs is what a container of a pod has said, in its run now or in the one before.
func (s *System) Logs(ctx context.Context, namespace, pod, container string, previous bool) (string, error) {
	q := url.Values{"container": {container}, "previous": {fmt.Sprint(previous)}}
	text, err := s.API(ctx, fmt.Sprintf("/api/v1/namespaces/%s/pods/%s/log?%s", namespace, pod, q.Encode()), "*/*")
	if err != nil {
		return "", fmt.Errorf("log of %s in pod %s/%s: %w", container, namespace, pod, err)
	}
	return string(text), nil
}
