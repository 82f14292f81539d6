package engine

import (
	"slices"
	"strings"
	"testing"
)

// Ports that lead to containers that are gone are told from those in use, also where both are the same port.
func TestStaleForwards(t *testing.T) {
	const table = `-P PREROUTING ACCEPT
-N NETAVARK-HOSTPORT-DNAT
-A OUTPUT -m addrtype --dst-type LOCAL -j NETAVARK-HOSTPORT-DNAT
-A NETAVARK-DN-3E5F -s 10.89.77.0/24 -d 127.0.0.1/32 -p tcp -m tcp --dport 33279 -j NETAVARK-HOSTPORT-SETMARK
-A NETAVARK-DN-3E5F -d 127.0.0.1/32 -p tcp -m tcp --dport 33279 -j DNAT --to-destination 10.89.77.33:6443
-A NETAVARK-DN-3E5F -d 127.0.0.1/32 -p tcp -m tcp --dport 28391 -j DNAT --to-destination 10.89.78.8:30391
-A NETAVARK-DN-3E5F -s 127.0.0.1/32 -d 127.0.0.1/32 -p tcp -m tcp --dport 28391 -j NETAVARK-HOSTPORT-SETMARK
-A NETAVARK-DN-3E5F -d 127.0.0.1/32 -p tcp -m tcp --dport 28391 -j DNAT --to-destination 10.89.79.3:30391
-A NETAVARK-DN-9999 -d 127.0.0.1/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.88.0.2:80
-A NETAVARK-HOSTPORT-DNAT -p tcp -m tcp --dport 33279 -m comment --comment "dnat name: kubernaut-e2e id: aaaa" -j NETAVARK-DN-3E5F
-A NETAVARK-HOSTPORT-DNAT -p tcp -m tcp --dport 28391 -m comment --comment "dnat name: kubernaut-e2e id: bbbb" -j NETAVARK-DN-3E5F
-A NETAVARK-HOSTPORT-DNAT -p tcp -m tcp --dport 28391 -m comment --comment "dnat name: kubernaut-e2e id: cccc" -j NETAVARK-DN-3E5F
-A NETAVARK-HOSTPORT-DNAT -p tcp -m tcp --dport 8080 -m comment --comment "dnat name: podman id: dddd" -j NETAVARK-DN-9999
`
	live := Container{ID: "cccc", Addresses: map[string]string{NetworkName: "10.89.79.3"}}
	starting := Container{ID: "cccc", Addresses: map[string]string{}}
	jump := func(port, id string) string {
		return "NETAVARK-HOSTPORT-DNAT -p tcp -m tcp --dport " + port + " -m comment --comment dnat name: kubernaut-e2e id: " + id + " -j NETAVARK-DN-3E5F"
	}
	const (
		mark   = "NETAVARK-DN-3E5F -s 10.89.77.0/24 -d 127.0.0.1/32 -p tcp -m tcp --dport 33279 -j NETAVARK-HOSTPORT-SETMARK"
		api    = "NETAVARK-DN-3E5F -d 127.0.0.1/32 -p tcp -m tcp --dport 33279 -j DNAT --to-destination 10.89.77.33:6443"
		second = "NETAVARK-DN-3E5F -d 127.0.0.1/32 -p tcp -m tcp --dport 28391 -j DNAT --to-destination 10.89.78.8:30391"
	)
	for name, c := range map[string]struct {
		there []Container
		want  []string
	}{
		"one is in use": {[]Container{live}, []string{mark, api, second, jump("33279", "aaaa"), jump("28391", "bbbb")}},
		"one starts":    {[]Container{starting}, []string{mark, api, jump("33279", "aaaa"), jump("28391", "bbbb")}},
	} {
		all, rules := parseForwards(table, NetworkName)
		stale, drop := staleForwards(all, rules, c.there, NetworkName)
		var got []string
		for _, rule := range drop {
			got = append(got, strings.Join(rule, " "))
		}
		if stale != 2 || !slices.Equal(got, c.want) {
			t.Errorf("%s: %d ports, remove\n%s\nwant\n%s", name, stale, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}
