// Package base holds the permissions of the services as they ship, for a kubernaut that runs the
// services itself and gives each of them no more than these.
package base

import (
	"embed"
	"io/fs"
)

//go:embed aianalysis/rbac.yaml holmesgpt-api/rbac.yaml node-leases.yaml namespace.yaml
var files embed.FS

// Namespace is where everything namespaced goes that names no namespace.
const Namespace = "kubernaut-system"

// Permissions returns the manifests of the namespace, the ServiceAccounts and their roles, each a
// YAML stream, in the order in which to apply them.
func Permissions() ([][]byte, error) {
	var all [][]byte
	for _, name := range []string{"namespace.yaml", "aianalysis/rbac.yaml", "holmesgpt-api/rbac.yaml", "node-leases.yaml"} {
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}
