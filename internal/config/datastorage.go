package config

import (
	"flag"
	"time"

	"go.yaml.in/yaml/v3"
)

// Drivers of a database.
const (
	DriverSQLite   = "sqlite"
	DriverPostgres = "postgres"
)

// DataStorage is the configuration of the service that keeps the audit trail, the workflow catalog
// and the evidence bundles.
type DataStorage struct {
	Server   Server        `yaml:"server"`
	Database Database      `yaml:"database"`
	Catalog  Catalog       `yaml:"catalog"`
	Limits   StorageLimits `yaml:"limits"`
	Logging  Logging       `yaml:"logging"`

	// ShutdownTimeout is all the time from SIGTERM to exit.
	ShutdownTimeout time.Duration `yaml:"shutdown_timeout"`

	// Warnings names the keys that were accepted and have no effect, and values that look unwise.
	Warnings []string `yaml:"-"`
}

// Database is where everything is stored. A loaded configuration has Driver set: when the file does
// not, it is postgres if there is a host, and sqlite if there is none.
type Database struct {
	Driver string `yaml:"driver"` // sqlite, postgres
	Path   string `yaml:"path"`   // of the SQLite file

	Host    string `yaml:"host"`
	Port    int    `yaml:"port"`
	Name    string `yaml:"name"`
	User    string `yaml:"user"`
	SSLMode string `yaml:"ssl_mode"`

	MaxOpenConns    int           `yaml:"max_open_conns"`
	MaxIdleConns    int           `yaml:"max_idle_conns"`
	ConnMaxLifetime time.Duration `yaml:"conn_max_lifetime"`
	ConnMaxIdleTime time.Duration `yaml:"conn_max_idle_time"`

	// SecretsFile is a YAML or JSON file of text values. PasswordKey names the password in it and
	// UsernameKey, if set, a user that replaces User.
	SecretsFile string `yaml:"secretsFile"`
	UsernameKey string `yaml:"usernameKey"`
	PasswordKey string `yaml:"passwordKey"`

	// Password comes from SecretsFile.
	Password Secret `yaml:"-"`
}

// Catalog is the workflow catalog.
type Catalog struct {
	Dir string `yaml:"dir"` // of workflow files to register at start; empty: none
}

// StorageLimits bound what one request may bring.
type StorageLimits struct {
	MaxBodyBytes   int64 `yaml:"max_body_bytes"`
	MaxBatchEvents int   `yaml:"max_batch_events"`
	MaxBundleBytes int64 `yaml:"max_bundle_bytes"`
}

// DefaultDataStorage returns the built-in configuration, which is valid.
func DefaultDataStorage() DataStorage {
	return DataStorage{
		Server: Server{Host: "0.0.0.0", Port: 8080, ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second},
		Database: Database{
			Driver:          DriverSQLite,
			Path:            "/var/lib/datastorage/datastorage.db",
			Port:            5432,
			SSLMode:         "prefer",
			MaxOpenConns:    25,
			MaxIdleConns:    5,
			ConnMaxLifetime: 5 * time.Minute,
			ConnMaxIdleTime: 10 * time.Minute,
		},
		Limits:          StorageLimits{MaxBodyBytes: 5 << 20, MaxBatchEvents: 5000, MaxBundleBytes: 16 << 20},
		Logging:         Logging{Level: "info", Format: "json"},
		ShutdownTimeout: 20 * time.Second,
	}
}

// LoadDataStorage reads the configuration of Data Storage, with the password from the secrets file.
// path may be empty: then CONFIG_PATH names the file, or the default file is read if there is one.
// env is os.Getenv or a stand-in.
func LoadDataStorage(path string, env func(string) string) (DataStorage, error) {
	return load[DataStorage](path, env, DefaultDataStorage(), nil)
}

// BindDataStorage registers the flags of Data Storage.
func BindDataStorage(fs *flag.FlagSet) *Flags[DataStorage] {
	return bind[DataStorage](fs, DefaultDataStorage)
}

// Validate returns an *Error of every fault, or nil.
func (c DataStorage) Validate() error { return validate(&c) }

func (c *DataStorage) definition() definition {
	return definition{
		defaultPath: "/etc/datastorage/config.yaml",
		pathEnv:     []string{"CONFIG_PATH"},
		ignored:     map[string]string{"redis": "no Redis is used; writers keep undelivered events on their own disk"},
		overrides: []override{
			{key: "shutdown_timeout", env: "SHUTDOWN_TIMEOUT"},
			{key: "logging.format", env: "ENV", text: productionFormat},
		},
	}
}

// productionFormat turns ENV=production into the log format that it asks for.
func productionFormat(text string) string {
	if text == "production" {
		return "json"
	}
	return ""
}

func (c *DataStorage) finish(r *report, _ func(string) string) {
	c.Logging.normalize()
	if !r.given("database.driver") && c.Database.Host != "" {
		c.Database.Driver = DriverPostgres
	}
	if c.Database.Driver == DriverPostgres && c.Database.SecretsFile != "" {
		c.readSecrets(r)
	}
}

// readSecrets fills Password and, when it is named, User. No message holds a value of the file.
func (c *DataStorage) readSecrets(r *report) {
	const key = "database.secretsFile"
	body, err := readBounded(c.Database.SecretsFile)
	if err != nil {
		r.add(key, "cannot be read: %v", err)
		return
	}
	var secrets map[string]yaml.Node
	if err := yaml.Unmarshal(body, &secrets); err != nil {
		r.add(key, "%s is not a YAML or JSON object", c.Database.SecretsFile)
		return
	}
	pick := func(key, name string) string {
		node, ok := secrets[name]
		if !ok || node.Kind != yaml.ScalarNode || node.Value == "" {
			r.add(key, "%s has no text under %q", c.Database.SecretsFile, clip(name))
			return ""
		}
		return node.Value
	}
	if c.Database.PasswordKey != "" {
		c.Database.Password = NewSecret(pick("database.passwordKey", c.Database.PasswordKey))
	}
	if c.Database.UsernameKey != "" {
		if user := pick("database.usernameKey", c.Database.UsernameKey); user != "" {
			c.Database.User = user
		}
	}
}

func (c *DataStorage) setWarnings(w []string) { c.Warnings = w }

func (c *DataStorage) check(r *report) {
	c.Server.check(r)
	c.Database.check(r)
	number(r, "limits.max_body_bytes", c.Limits.MaxBodyBytes, 1<<10, 1<<30)
	number(r, "limits.max_batch_events", c.Limits.MaxBatchEvents, 1, 100_000)
	number(r, "limits.max_bundle_bytes", c.Limits.MaxBundleBytes, 1<<10, 1<<32)
	c.Logging.check(r)
	checkShutdown(r, c.ShutdownTimeout)
}

func (d Database) check(r *report) {
	r.oneOf("database.driver", d.Driver, DriverSQLite, DriverPostgres)
	number(r, "database.max_open_conns", d.MaxOpenConns, 1, 10_000)
	number(r, "database.max_idle_conns", d.MaxIdleConns, 0, max(d.MaxOpenConns, 0))
	r.between("database.conn_max_lifetime", d.ConnMaxLifetime, 0, 365*24*time.Hour)
	r.between("database.conn_max_idle_time", d.ConnMaxIdleTime, 0, 365*24*time.Hour)
	switch d.Driver {
	case DriverSQLite:
		r.required("database.path", d.Path)
	case DriverPostgres:
		r.required("database.host", d.Host)
		number(r, "database.port", d.Port, 1, 65535)
		r.required("database.name", d.Name)
		r.required("database.user", d.User)
		r.oneOf("database.ssl_mode", d.SSLMode, "disable", "allow", "prefer", "require", "verify-ca", "verify-full")
		if (d.SecretsFile == "") != (d.PasswordKey == "") {
			r.add("database.secretsFile", "and database.passwordKey go together: give both, or neither for a server that asks for no password")
		}
		if d.UsernameKey != "" && d.SecretsFile == "" {
			r.add("database.usernameKey", "needs database.secretsFile")
		}
	}
}
