package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const etcdStartTimeout = time.Minute

// startEtcd starts a single member that listens on sockets in the data directory only; nothing but a process of the
// same user can reach it.
func startEtcd(ctx context.Context, d *dataDir, fsync bool, log io.Writer) (*embed.Etcd, error) {
	client := url.URL{Scheme: "unix", Host: etcdSocket}
	peer := url.URL{Scheme: "unix", Host: peerSocket}
	c := embed.NewConfig()
	c.Dir = d.file(etcdDir)
	c.UnsafeNoFsync = !fsync
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	c.InitialCluster = c.Name + "=" + peer.String()
	// A member alone waits one election timeout before it leads itself: the default costs a start 0.6 s more.
	c.TickMs, c.ElectionMs = 10, 50
	enc := zap.NewProductionEncoderConfig()
	enc.EncodeTime = zapcore.ISO8601TimeEncoder
	core := zapcore.NewCore(zapcore.NewConsoleEncoder(enc), zapcore.AddSync(log), zapcore.ErrorLevel)
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(core))

	e, err := embed.StartEtcd(c)
	if err != nil {
		return nil, fmt.Errorf("start etcd in %s: %w", c.Dir, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, etcdStartTimeout, errors.New("not ready in "+etcdStartTimeout.String()))
	defer cancel()
	select {
	case <-e.Server.ReadyNotify():
		return e, nil
	case err = <-e.Err():
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	e.Close()
	return nil, fmt.Errorf("start etcd in %s: %w", c.Dir, err)
}

func etcdEndpoint() string { return "unix://" + etcdSocket }
