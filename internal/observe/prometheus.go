package observe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

// Bounds of what is asked of Prometheus. One observation makes as many requests as there are measures.
const (
	metricRange   = time.Hour
	metricStep    = time.Minute
	metricTimeout = 5 * time.Second
	metricBytes   = 4 << 20 // of one answer
	maxMetricPods = 20
)

// Prometheus is a server that speaks the HTTP API of Prometheus.
type Prometheus struct {
	// URL is the server's, as far as what /api/v1 follows.
	URL string
	// Client makes the requests; nil: http.DefaultClient.
	Client *http.Client
}

func (p Prometheus) validate() error {
	u, err := url.Parse(p.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("observe: Options.Prometheus.URL %q is no http or https URL with a host", p.URL)
	}
	return nil
}

// measurement is how a measure is asked for: $pods stands for the label matchers of the Pods.
type measurement struct {
	measure      diagnose.Measure
	unit         string
	perContainer bool
	query        string
}

// measurements use the names that cAdvisor, kube-state-metrics and the client libraries give their metrics.
var measurements = []measurement{
	{diagnose.MeasureThrottled, "share of periods", true, `sum by (namespace,pod,container) (rate(container_cpu_cfs_throttled_periods_total{$pods,container!=""}[5m])) / sum by (namespace,pod,container) (rate(container_cpu_cfs_periods_total{$pods,container!=""}[5m]))`},
	{diagnose.MeasureCPU, "cores", true, `sum by (namespace,pod,container) (rate(container_cpu_usage_seconds_total{$pods,container!="",container!="POD"}[5m]))`},
	{diagnose.MeasureMemory, "bytes", true, `max by (namespace,pod,container) (container_memory_working_set_bytes{$pods,container!="",container!="POD"})`},
	{diagnose.MeasureMemoryLimit, "bytes", true, `max by (namespace,pod,container) (kube_pod_container_resource_limits{resource="memory",$pods})`},
	{diagnose.MeasureRestarts, "restarts", true, `max by (namespace,pod,container) (kube_pod_container_status_restarts_total{$pods})`},
	{diagnose.MeasureErrors, "share of requests", false, `sum by (namespace,pod) (rate(http_requests_total{$pods,code=~"5.."}[5m]) or rate(http_requests_total{$pods,status=~"5.."}[5m])) / sum by (namespace,pod) (rate(http_requests_total{$pods}[5m]))`},
	{diagnose.MeasureLatency, "seconds", false, `histogram_quantile(0.99, sum by (namespace,pod,le) (rate(http_request_duration_seconds_bucket{$pods}[5m])))`},
}

// readMetrics asks Prometheus about Pods, the first so many of them.
func (r *reader) readMetrics(pods []incident.Ref) {
	if r.prometheus == nil || len(pods) == 0 {
		return
	}
	slices.SortFunc(pods, func(a, b incident.Ref) int { return strings.Compare(a.String(), b.String()) })
	pods = slices.Compact(pods)
	if len(pods) > maxMetricPods {
		r.gap(diagnose.Gap{
			Kind: incident.GapNotAsked, Subject: incident.Ref{Kind: "Metric"}, What: "metrics of further Pods",
			Reason: fmt.Sprintf("the limit of %d Pods was reached", maxMetricPods),
		})
		pods = pods[:maxMetricPods]
	}
	var reads []func()
	for _, m := range measurements {
		reads = append(reads, func() {
			found, err := r.series(m, pods)
			if err != nil {
				r.failed(diagnose.Gap{Subject: incident.Ref{Kind: "Metric"}, What: "metrics: " + string(m.measure)}, err)
				return
			}
			r.keep(found)
			if len(found) == 0 && m.measure == diagnose.MeasureCPU {
				r.gap(diagnose.Gap{
					Kind: incident.GapNotAsked, Subject: incident.Ref{Kind: "Metric"}, What: "metrics of the containers",
					Reason: "Prometheus has no series of cAdvisor about these Pods",
				})
			}
		})
	}
	r.each(reads)
}

// matchers are the label matchers of Pods. Names of Pods and namespaces hold no character that PromQL or its expressions give
// another meaning but the dot, which is quoted.
func matchers(pods []incident.Ref) string {
	var namespaces, names []string
	quoted := func(s string) string { return strings.ReplaceAll(s, ".", `\\.`) }
	for _, p := range pods {
		namespaces, names = append(namespaces, quoted(p.Namespace)), append(names, quoted(p.Name))
	}
	slices.Sort(namespaces)
	return fmt.Sprintf(`namespace=~"%s",pod=~"%s"`, strings.Join(slices.Compact(namespaces), "|"), strings.Join(names, "|"))
}

// matrix is Prometheus' answer to a range query.
type matrix struct {
	Status string `json:"status"`
	Error  string `json:"error"`
	Data   struct {
		ResultType string `json:"resultType"`
		Result     []struct {
			Metric map[string]string    `json:"metric"`
			Values [][2]json.RawMessage `json:"values"`
		} `json:"result"`
	} `json:"data"`
}

// series asks for one measure of Pods and returns a Metric for each series.
func (r *reader) series(m measurement, pods []incident.Ref) ([]item, error) {
	ctx, cancel := context.WithTimeout(r.ctx, metricTimeout)
	defer cancel()
	end := r.now().UTC()
	query := strings.ReplaceAll(m.query, "$pods", matchers(pods))
	form := url.Values{
		"query": {query}, "step": {strconv.Itoa(int(metricStep.Seconds()))}, "timeout": {metricTimeout.String()},
		"start": {strconv.FormatInt(end.Add(-metricRange).Unix(), 10)}, "end": {strconv.FormatInt(end.Unix(), 10)},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(r.prometheus.URL, "/")+"/api/v1/query_range?"+form.Encode(), nil)
	if err != nil {
		return nil, err
	}
	client := r.prometheus.Client
	if client == nil {
		client = http.DefaultClient
	}
	r.calls.Add(1)
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask Prometheus: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, metricBytes+1))
	r.budget.used.Add(int64(len(body)))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read Prometheus' answer: %w", err)
	case len(body) > metricBytes:
		return nil, fmt.Errorf("Prometheus' answer is longer than %d bytes", metricBytes)
	}
	var a matrix
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, fmt.Errorf("Prometheus answers %s with what is no JSON of its API", resp.Status)
	}
	if a.Status != "success" || a.Data.ResultType != "matrix" {
		return nil, errors.New("Prometheus refuses the query: " + a.Error)
	}
	var out []item
	for _, s := range a.Data.Result {
		pod := incident.Ref{APIVersion: "v1", Kind: "Pod", Namespace: s.Metric["namespace"], Name: s.Metric["pod"]}
		if !slices.ContainsFunc(pods, pod.Same) || m.perContainer && s.Metric["container"] == "" {
			continue
		}
		if tree := metricTree(m, query, pod, s.Metric["container"], s.Values); tree != nil {
			out = append(out, item{tree: tree})
		}
	}
	return out, nil
}

// metricTree makes a Metric of a series; nil when that has no sample which is a number.
func metricTree(m measurement, query string, pod incident.Ref, container string, values [][2]json.RawMessage) map[string]any {
	var samples []any
	most, least, latest := math.Inf(-1), math.Inf(1), 0.0
	for _, v := range values {
		var at float64
		var text string
		if json.Unmarshal(v[0], &at) != nil || json.Unmarshal(v[1], &text) != nil {
			continue
		}
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
			continue
		}
		n = math.Round(n*1e6) / 1e6
		samples = append(samples, map[string]any{"at": time.Unix(int64(at), 0).UTC().Format(time.RFC3339), "value": n})
		most, least, latest = max(most, n), min(least, n), n
	}
	if len(samples) == 0 {
		return nil
	}
	ref := diagnose.MetricRef(pod.Namespace, pod.Name, container, m.measure)
	return map[string]any{
		"apiVersion": ref.APIVersion, "kind": ref.Kind, "metadata": map[string]any{"namespace": ref.Namespace, "name": ref.Name},
		"pod": pod.Name, "container": container, "measure": string(m.measure), "unit": m.unit, "query": query,
		"latest": latest, "most": most, "least": least, "since": samples[0].(map[string]any)["at"], "samples": samples,
	}
}
