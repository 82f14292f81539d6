package main

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"syscall"
)

// replaceRoute makes the route to a network lead by a gateway, with one message to the kernel.
func replaceRoute(to netip.Prefix, via netip.Addr) error {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	if err := syscall.Sendto(fd, routeMessage(to, via), 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 4096)
	n, _, err := syscall.Recvfrom(fd, answer, 0)
	if err != nil {
		return err
	}
	if n < syscall.SizeofNlMsghdr+4 {
		return errors.New("the kernel's answer is too short")
	}
	// Zero, or an error's number with a minus.
	if code := int32(binary.NativeEndian.Uint32(answer[syscall.SizeofNlMsghdr:])); code != 0 {
		return syscall.Errno(-code)
	}
	return nil
}

// routeMessage is an rtnetlink request: header, route, and the attributes destination and gateway.
func routeMessage(to netip.Prefix, via netip.Addr) []byte {
	native := binary.NativeEndian
	route := []byte{
		syscall.AF_INET, byte(to.Bits()), 0, 0, // family, lengths of the networks, type of service
		syscall.RT_TABLE_MAIN, syscall.RTPROT_STATIC, syscall.RT_SCOPE_UNIVERSE, syscall.RTN_UNICAST,
		0, 0, 0, 0, // flags
	}
	for _, a := range []struct {
		kind uint16
		ip   netip.Addr
	}{{syscall.RTA_DST, to.Masked().Addr()}, {syscall.RTA_GATEWAY, via}} {
		ip := a.ip.As4()
		route = native.AppendUint16(route, uint16(syscall.SizeofRtAttr+len(ip)))
		route = native.AppendUint16(route, a.kind)
		route = append(route, ip[:]...)
	}
	flags := uint16(syscall.NLM_F_REQUEST | syscall.NLM_F_ACK | syscall.NLM_F_CREATE | syscall.NLM_F_REPLACE)
	msg := native.AppendUint32(nil, uint32(syscall.SizeofNlMsghdr+len(route)))
	msg = native.AppendUint16(msg, syscall.RTM_NEWROUTE)
	msg = native.AppendUint16(msg, flags)
	msg = native.AppendUint32(msg, 1) // sequence number
	msg = native.AppendUint32(msg, 0) // sender
	return append(msg, route...)
}
