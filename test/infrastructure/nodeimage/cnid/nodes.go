package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"
)

const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount/"

// node is what matters of one: where it is, and the addresses that it may give to pods. Either is invalid as long as it is
// unknown.
type node struct {
	address netip.Addr
	pods    netip.Prefix
}

// apiServer returns a function that lists the nodes, with the rights of this pod.
func apiServer(url string) func(context.Context) ([]node, error) {
	return func(ctx context.Context) ([]node, error) {
		nodes, err := list(ctx, url+"/api/v1/nodes?resourceVersion=0", serviceAccount)
		if err != nil {
			return nil, fmt.Errorf("list the nodes: %w", err)
		}
		return nodes, nil
	}
}

func list(ctx context.Context, url, credentials string) ([]node, error) {
	token, err := os.ReadFile(credentials + "token") // it is renewed
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(credentials + "ca.crt")
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	client := &http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}},
	}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the API server answers %s", resp.Status)
	}
	var answer struct {
		Items []struct {
			Spec   struct{ PodCIDR string }
			Status struct {
				Addresses []struct{ Type, Address string }
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, err
	}
	nodes := make([]node, len(answer.Items))
	for i, item := range answer.Items {
		nodes[i].pods, _ = netip.ParsePrefix(item.Spec.PodCIDR)
		for _, a := range item.Status.Addresses {
			if addr, err := netip.ParseAddr(a.Address); err == nil && a.Type == "InternalIP" && addr.Is4() {
				nodes[i].address = addr
			}
		}
	}
	return nodes, nil
}
