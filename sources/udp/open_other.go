//go:build !linux

package udp

// open opens the one socket of an address: without the kernel's balancing, more would not share the load.
func (s *source) open(l listen, cfg *Config) ([]receiver, error) {
	p, err := openPortable(s, l, cfg)
	if err != nil {
		return nil, err
	}
	s.env.Log.Info("receiving", "listen", p.local(), "workers", 1)
	return []receiver{p}, nil
}
