// Package gen is generated from api/openapi/datastorage.yaml: models, strict server, client and the
// embedded specification.
package gen

//go:generate go tool -modfile=../../../../tools/go.mod oapi-codegen -config config.yaml ../../../../api/openapi/datastorage.yaml
