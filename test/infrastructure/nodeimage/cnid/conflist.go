package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
)

// podSubnet is the IPv4 network of all pods, as Kind writes it.
func podSubnet(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil || !p.Addr().Is4() {
		return netip.Prefix{}, fmt.Errorf("POD_SUBNET must be an IPv4 network, not %q", s)
	}
	return p.Masked(), nil
}

// conflist is the configuration of the CNI plugins of a node. The plugin gets the subnet of all pods, so that traffic
// between pods keeps its source address, and takes addresses of the node's part only.
func conflist(all, part netip.Prefix) (string, error) {
	if !part.Addr().Is4() || part.Bits() > 29 {
		return "", fmt.Errorf("%s is no IPv4 network with room for pods", part)
	}
	base := part.Masked().Addr().As4()
	at := func(offset uint32) string {
		var ip [4]byte
		binary.BigEndian.PutUint32(ip[:], binary.BigEndian.Uint32(base[:])+offset)
		return netip.AddrFrom4(ip).String()
	}
	size := uint32(1) << (32 - part.Bits())
	type object = map[string]any
	content, err := json.MarshalIndent(object{
		"cniVersion": "0.4.0",
		"name":       "kindnet",
		"plugins": []object{
			{
				"type": "ptp", "ipMasq": true, "mtu": 1500,
				"ipam": object{
					"type": "host-local", "dataDir": "/run/cni-ipam-state", "routes": []object{{"dst": "0.0.0.0/0"}},
					"ranges": [][]object{{{"subnet": all.String(), "rangeStart": at(2), "rangeEnd": at(size - 2), "gateway": at(1)}}},
				},
			},
			{"type": "portmap", "capabilities": object{"portMappings": true}},
		},
	}, "", "  ")
	return string(content) + "\n", err
}
