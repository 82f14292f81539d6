// Package wire is generated from api/openapi/holmesgpt-api.yaml: the types, the server's routes and
// the client of the investigation API.
package wire

//go:generate go tool -modfile=../../../tools/go.mod oapi-codegen -config oapi-codegen.yaml ../../../api/openapi/holmesgpt-api.yaml
