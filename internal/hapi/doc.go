// Package hapi is the investigation service's HTTP protocol: generated code, handlers and client.
package hapi
