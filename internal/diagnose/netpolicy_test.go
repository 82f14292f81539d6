package diagnose

import (
	"testing"

	"kubernaut.ai/kubernaut/internal/incident"
)

func valueOf(t *testing.T, raw any) Value {
	t.Helper()
	o, err := NewObject(map[string]any{"apiVersion": "v1", "kind": "X", "metadata": map[string]any{"name": "x"}, "spec": raw}, false)
	if err != nil {
		t.Fatal(err)
	}
	return o.At("spec")
}

func TestPortAllowed(t *testing.T) {
	server := valueOf(t, map[string]any{"containers": []any{map[string]any{"name": "c", "ports": []any{map[string]any{"name": "pg", "containerPort": 5432}}}}})
	for _, row := range []struct {
		name     string
		ports    []any
		number   int64
		protocol string
		want     bool
	}{
		{"no ports are all ports", nil, 1, "TCP", true},
		{"the number", []any{map[string]any{"port": 5432}}, 5432, "TCP", true},
		{"another number", []any{map[string]any{"port": 5433}}, 5432, "TCP", false},
		{"another protocol", []any{map[string]any{"port": 53, "protocol": "TCP"}}, 53, "UDP", false},
		{"a protocol without a number", []any{map[string]any{"protocol": "UDP"}}, 53, "UDP", true},
		{"a range", []any{map[string]any{"port": 5000, "endPort": 6000}}, 5432, "TCP", true},
		{"beyond a range", []any{map[string]any{"port": 5000, "endPort": 5100}}, 5432, "TCP", false},
		{"a name that the server declares", []any{map[string]any{"port": "pg"}}, 5432, "TCP", true},
		{"a name that it does not declare", []any{map[string]any{"port": "sql"}}, 5432, "TCP", false},
	} {
		if got := portAllowed(valueOf(t, row.ports), server, row.number, row.protocol); got != row.want {
			t.Errorf("%s: portAllowed(%v, %d/%s) = %v, want %v", row.name, row.ports, row.number, row.protocol, got, row.want)
		}
	}
}

func TestInBlock(t *testing.T) {
	for _, row := range []struct {
		block        map[string]any
		ip           string
		match, known bool
	}{
		{map[string]any{"cidr": "10.0.0.0/8"}, "10.1.2.3", true, true},
		{map[string]any{"cidr": "10.0.0.0/8", "except": []any{"10.1.0.0/16"}}, "10.1.2.3", false, true},
		{map[string]any{"cidr": "192.168.0.0/16"}, "10.1.2.3", false, true},
		{map[string]any{"cidr": "192.168.0.0/16"}, "", false, false},
		{map[string]any{"cidr": "nonsense"}, "10.1.2.3", false, false},
	} {
		match, known := inBlock(valueOf(t, row.block), row.ip)
		if match != row.match || known != row.known {
			t.Errorf("inBlock(%v, %q) = %v, %v, want %v, %v", row.block, row.ip, match, known, row.match, row.known)
		}
	}
}

func TestForbidden(t *testing.T) {
	account := incident.Ref{APIVersion: "v1", Kind: "ServiceAccount", Namespace: "ops", Name: "lister"}
	for _, row := range []struct {
		line string
		want request
		ok   bool
	}{
		{
			`deployments.apps is forbidden: User "system:serviceaccount:ops:lister" cannot watch resource "deployments" in API group "apps" in the namespace "shop"`,
			request{account: account, verb: "watch", resource: "deployments", group: "apps", namespace: "shop"},
			true,
		},
		{
			`{"msg":"nodes is forbidden: User \"system:serviceaccount:ops:lister\" cannot list resource \"nodes\" in API group \"\" at the cluster scope"}`,
			request{account: account, verb: "list", resource: "nodes", clusterWide: true},
			true,
		},
		{`pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "ops"`, request{}, false},
		{`system:serviceaccount:ops:lister is forbidden`, request{}, false},
	} {
		if got, ok := forbidden(row.line); got != row.want || ok != row.ok {
			t.Errorf("forbidden(%q) = %+v, %v, want %+v, %v", row.line, got, ok, row.want, row.ok)
		}
	}
}

func TestCorefileFault(t *testing.T) {
	const good = ".:53 {\n    errors\n    kubernetes cluster.local in-addr.arpa {\n        pods insecure\n    }\n    forward . /etc/resolv.conf\n}\n"
	service := tie{dependency: dependency{address: address{host: "cart.shop.svc.cluster.local"}, ref: incident.Ref{Kind: "Service", Namespace: "shop", Name: "cart"}}}
	for _, row := range []struct {
		name, text string
		fault      bool
	}{
		{"as shipped", good, false},
		{"no kubernetes plugin", ".:53 {\n    forward . 8.8.8.8\n}\n", true},
		{"another domain", ".:53 {\n    kubernetes cluster.lcl in-addr.arpa {\n    }\n}\n", true},
		{"template for all Services", ".:53 {\n    template ANY ANY svc.cluster.local {\n        rcode NXDOMAIN\n    }\n    kubernetes cluster.local {\n    }\n}\n", true},
		{"template for this Service", ".:53 {\n    template ANY ANY {\n        match \"^cart\\.shop\\.svc\"\n        rcode SERVFAIL\n    }\n    kubernetes cluster.local {\n    }\n}\n", true},
		{"template for another domain", ".:53 {\n    template ANY ANY corp.example.com {\n        rcode NXDOMAIN\n    }\n    kubernetes cluster.local {\n    }\n}\n", false},
		{"template for another Service", ".:53 {\n    template ANY ANY {\n        match \"^mail\\.shop\\.svc\"\n        rcode NXDOMAIN\n    }\n    kubernetes cluster.local {\n    }\n}\n", false},
		{"rewrite of this Service", ".:53 {\n    rewrite name cart.shop.svc.cluster.local gone.shop.svc.cluster.local\n    kubernetes cluster.local {\n    }\n}\n", true},
		{"no configuration of this kind", "listen: 53\n", false},
		{"empty", "", false},
	} {
		if got := corefileFault(row.text, service); (got != "") != row.fault {
			t.Errorf("%s: corefileFault = %q, want a fault: %v", row.name, got, row.fault)
		}
	}
}
