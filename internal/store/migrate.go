package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
)

//go:embed migrations
var migrations embed.FS

// migrate applies the embedded migrations that the database lacks; each is a transaction. They only
// go forward. On PostgreSQL one process migrates at a time and the others wait for it. A database
// that a newer program has migrated is refused.
func (s *Store) migrate(ctx context.Context) error {
	files, err := fs.Sub(migrations, s.dialect.migrations)
	if err != nil {
		return err
	}
	options := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true)}
	if s.dialect.locker != nil {
		locker, err := s.dialect.locker()
		if err != nil {
			return err
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	provider, err := goose.NewProvider(s.dialect.goose, s.writes, files, options...)
	if err != nil {
		return fmt.Errorf("read the embedded migrations: %w", err)
	}
	start := s.clock()
	applied, err := provider.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrate the database: %w", err)
	}
	current, target, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the version of the schema: %w", err)
	}
	if current > target {
		return fmt.Errorf("the database has schema version %d and this program knows versions up to %d: use a newer program",
			current, target)
	}
	if len(applied) > 0 {
		s.log.Info("Database migrated", "migrations", len(applied), "version", current,
			"duration", s.clock().Sub(start).Round(time.Millisecond))
	}
	return nil
}
