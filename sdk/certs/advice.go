package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"reflect"
	"strings"
	"syscall"
)

// Alerts by which a peer says what it does not accept (RFC 8446, 6.2).
const (
	alertHandshake      = 40
	alertBadCertificate = 42
	alertUnsupported    = 43
	alertRevoked        = 44
	alertExpired        = 45
	alertUnknown        = 46
	alertUnknownCA      = 48
	alertAccessDenied   = 49
	alertVersion        = 70
	alertRequired       = 116
)

// alert is the number of the alert that a peer has sent; 0: err is none.
func alert(err error) uint64 {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "remote error" {
		return 0
	}
	if v := reflect.ValueOf(op.Err); v.Kind() == reflect.Uint8 { // crypto/tls does not export the type
		return v.Uint()
	}
	return 0
}

// IsRefusal says whether err is a peer's word that it does not accept this side: trying again at once is of no use.
func IsRefusal(err error) bool { return alert(err) != 0 }

// AdviceToCollector says in a sentence why an exporter's TLS failed and what to do, to who runs the collector; empty where err says all.
func AdviceToCollector(err error) string {
	switch alert(err) {
	case alertBadCertificate, alertUnsupported, alertRevoked, alertExpired, alertUnknown, alertUnknownCA:
		return "the exporter does not accept the collector's certificate (tls.cert): its authority has to be known there, it has to have the name or address that the exporter connects to, and its time must not be over"
	case alertHandshake, alertVersion:
		return "the exporter finds no version or cipher of TLS that both have: look at its settings, and at tls.min_version"
	}
	var header tls.RecordHeaderError
	switch {
	case errors.As(err, &header):
		return "the exporter does not speak TLS: switch it on there, or give exporters without it an address of their own"
	case strings.Contains(err.Error(), "didn't provide a certificate"): // crypto/tls has no value for it
		return "give the exporter a certificate of an authority in tls.client_ca, or say tls.require_client_cert: false"
	case strings.Contains(err.Error(), "unsupported versions"): // nor for this
		return "the exporter has no version of TLS that tls.min_version admits: update it, and leave 1.0 and 1.1 behind (RFC 8996)"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "the exporter did not complete the beginning of TLS in time: look at the way to it, or keep it out with `allow`"
	}
	return invalid(err, "add the authority that signed the exporter's certificate to tls.client_ca",
		"renew the exporter's certificate, or set the clock of this machine", "")
}

// AdviceToExporter says the same of a collector's TLS, to who runs the side that connects.
func AdviceToExporter(err error) string {
	switch alert(err) {
	case alertRequired:
		return "the collector asks for a certificate: name one and its key as tls.cert and tls.key"
	case alertBadCertificate, alertUnsupported, alertRevoked, alertExpired, alertUnknown, alertUnknownCA, alertAccessDenied:
		return "the collector does not accept what tls.cert names, or asks for a certificate and none is named: its authority has to be known there, and its time must not be over"
	case alertHandshake, alertVersion:
		return "the collector finds no version or cipher of TLS that both have, or asks for a certificate that tls.cert does not name"
	}
	var header tls.RecordHeaderError
	switch {
	case errors.As(err, &header), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, os.ErrDeadlineExceeded):
		return "does the collector speak TLS on this port? If not, say tls.enabled: false"
	}
	return invalid(err, "name the authority that signed the collector's certificate as tls.ca",
		"renew the collector's certificate, or set the clock of this machine", "say as tls.server_name which name the certificate has, if it is the right one")
}

// invalid is what to do about a peer's certificate.
func invalid(err error, authority, expired, name string) string {
	var unknown x509.UnknownAuthorityError
	var wrong x509.CertificateInvalidError
	var host x509.HostnameError
	switch {
	case errors.As(err, &unknown):
		return authority
	case errors.As(err, &wrong) && wrong.Reason == x509.Expired:
		return expired
	case errors.As(err, &host):
		return name
	}
	return ""
}
