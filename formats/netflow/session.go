package netflow

// Session tells transport sessions of one exporter apart where there are any: over TCP templates, sequence numbers and all else
// an exporter tells hold for its connection and end with it (RFC 7011, 8 and 10.4). 0: there is none, as over UDP.
//
// From the top: 16 bits for who accepts connections, 16 bits for the place that a connection has there, 32 bits that count
// connections. A place is one connection's at a time, so a [Store] knows without being told that a session has ended: when its
// place is another's. What is remembered of sessions is thus bounded by the places there are.
type Session uint64

// NewSession is the session of connection number serial, at a place of one acceptor. It is never 0.
func NewSession(acceptor, place uint16, serial uint32) Session {
	return Session(max(acceptor, 1))<<48 | Session(place)<<32 | Session(serial)
}

func (s Session) place() uint32 { return uint32(s >> 32) }

// before says whether s was at its place before o; the count of connections may begin anew.
func (s Session) before(o Session) bool { return int32(uint32(s)-uint32(o)) < 0 }

// origin is whom a store tells apart.
type origin struct {
	addr    [16]byte
	session Session
}

// succeed makes o the session at its place and forgets the one that was there; false: o itself has ended, and what comes of it
// was late. Called with mu held.
func (s *Store) succeed(o origin) bool {
	if o.session == 0 {
		return true
	}
	place := o.session.place()
	if was, known := s.places[place]; known && was != o {
		if o.session.before(was.session) {
			return false
		}
		if e := s.exporters[was]; e != nil {
			s.forget(was, e)
		}
	}
	s.places[place] = o
	return true
}

// forget ends an exporter: its templates go, and what was missing of it is lost. Called with mu held.
func (s *Store) forget(o origin, e *Exporter) {
	snap := e.snap.Load()
	for _, x := range snap.entries {
		s.drop(x.t)
	}
	next := *snap
	next.entries = nil
	e.snap.Store(&next)
	e.gone.Store(true)
	s.moved.Add(1)
	delete(s.exporters, o)
	if s.places[o.session.place()] == o {
		delete(s.places, o.session.place())
	}
	if len(snap.entries)+len(snap.all)+len(snap.inits) > 0 {
		s.version.Add(1)
		s.changes.Add(1)
	}
	s.endLines(e)
}
