package claims

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"panormus/controlroom/auth/accounts"
	"panormus/controlroom/language"
	"panormus/controlroom/plain"
	"panormus/controlroom/problem"
	"panormus/devices"
	"panormus/stream/audit"
)

// Path is where the page is.
const Path = "/claim"

//go:embed page.html
var pageHTML string

var page = template.Must(template.New("claim").Parse(pageHTML))

// An Endpoint is where a device is to connect.
type Endpoint struct {
	Host string `json:"host"`
	Port int    `json:"port"`
	TLS  bool   `json:"tls"`
}

// Journal is the audit log; *audit.Journal is one.
type Journal interface {
	Append(ctx context.Context, e audit.Entry) error
}

// A Desk redeems codes, for the page and for the API.
type Desk struct {
	Book *Book
	// Broker is where devices connect, as somebody sees it who asked for host; nil: there is none.
	Broker  func(host string) *Endpoint
	Journal Journal // nil: nothing is noted
	Log     *slog.Logger
}

// Redeem is the book's, noted in the audit log.
func (d *Desk) Redeem(ctx context.Context, r Redemption) (*Redeemed, error) {
	return d.Book.Redeem(ctx, r, func(c Claim, device string) error {
		if d.Journal == nil {
			return nil
		}
		return d.Journal.Append(ctx, audit.Entry{Actor: "claim/" + c.ID, Action: "claim.redeemed", Object: "device/" + device, Detail: map[string]string{"from": r.Remote, "made_by": c.By}})
	})
}

// Routes are the page's, by pattern.
func (d *Desk) Routes() map[string]http.Handler {
	return map[string]http.Handler{"GET " + Path: http.HandlerFunc(d.show), "POST " + Path: http.HandlerFunc(d.enter)}
}

// Topic is where a device publishes.
func Topic(d *devices.Device) string { return "city/" + d.Domain + "/" + d.ID + "/telemetry" }

// words are the page's in one language.
type words struct {
	Lang, Title, Code, Serial, Name, Lat, Lon, Optional, Here, Looking, Found, NotFound, Enter   string
	Done, Device, Broker, User, Secret, Topic, Once, Bad, Later, Conflict, Invalid, Number, Over string
}

var languages = map[string]words{
	"it": {"it", "Nuovo dispositivo", "Codice", "Identificativo o numero di serie", "Nome", "Latitudine", "Longitudine", "facoltativo", "Usa la mia posizione",
		"Ricerca della posizione…", "Posizione trovata, precisione", "Posizione non disponibile: inseriscila a mano.", "Registra il dispositivo",
		"Il dispositivo è registrato.", "Dispositivo", "Broker MQTT", "Nome utente", "Segreto", "Topic", "Il segreto è mostrato solo ora: inseriscilo nel dispositivo prima di chiudere la pagina.",
		"Il codice non è valido, è già stato usato o è scaduto.", "Troppi tentativi: riprova tra %d secondi.", "Questo dispositivo è già registrato: serve un codice fatto per lui.",
		"Dati non validi: %s", "latitudine e longitudine, entrambe in gradi con il punto, o nessuna delle due", "Solo tramite HTTPS."},
	"en": {"en", "New device", "Code", "Id or serial number", "Name", "Latitude", "Longitude", "optional", "Use my position",
		"Looking for the position…", "Position found, accuracy", "No position is available: type it in.", "Enter the device",
		"The device is entered.", "Device", "MQTT broker", "User name", "Secret", "Topic", "The secret is shown now and never again: put it into the device before you close this page.",
		"The code is not valid, was used before or has run out.", "Too many tries: try again in %d seconds.", "This device is entered already: it takes a code made for it.",
		"Not acceptable: %s", "latitude and longitude, both in degrees with a dot, or neither", "Over HTTPS only."},
}

type done struct{ Device, Host, Secret, Topic string }

type view struct {
	T        words
	Nonce    string
	Form     Redemption
	Lat, Lon string
	Wrong    string
	Done     *done
}

func (d *Desk) show(w http.ResponseWriter, r *http.Request) {
	render(w, http.StatusOK, view{T: languages[language.Of(r)]})
}

func render(w http.ResponseWriter, status int, v view) {
	v.Nonce = plain.Nonce()
	w.Header().Set("Permissions-Policy", "geolocation=(self)")
	w.Header().Set("Referrer-Policy", "no-referrer")
	plain.Write(w, status, v.T.Lang, "style-src 'nonce-"+v.Nonce+"'; script-src 'nonce-"+v.Nonce+"'", page, v)
}

// maxForm bounds what is sent.
const maxForm = 16 << 10

func (d *Desk) enter(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		problem.New(http.StatusBadRequest, "the form cannot be read, want code, device, name, lat and lon of at most %d bytes", maxForm).Write(w, r)
		return
	}
	field := func(name string) string { return strings.TrimSpace(r.PostForm.Get(name)) }
	v := view{T: languages[language.Of(r)], Lat: field("lat"), Lon: field("lon"), Form: Redemption{Code: field("code"), Device: field("device"), Name: field("name"), Remote: r.RemoteAddr}}
	refuse := func(status int, why string) {
		v.Wrong = why
		render(w, status, v)
	}
	if !accounts.Secure(r) {
		refuse(http.StatusForbidden, v.T.Over)
		return
	}
	for _, f := range []struct {
		text string
		at   **float64
	}{{v.Lat, &v.Form.Lat}, {v.Lon, &v.Form.Lon}} {
		if f.text == "" {
			continue
		}
		n, err := strconv.ParseFloat(strings.Replace(f.text, ",", ".", 1), 64)
		if err != nil {
			refuse(http.StatusUnprocessableEntity, fmt.Sprintf(v.T.Invalid, v.T.Number))
			return
		}
		*f.at = &n
	}
	got, err := d.Redeem(r.Context(), v.Form)
	wait, waits := errors.AsType[Wait](err)
	switch {
	case err == nil:
	case waits:
		seconds := int(time.Duration(wait)/time.Second) + 1
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		refuse(http.StatusTooManyRequests, fmt.Sprintf(v.T.Later, seconds))
		return
	case errors.Is(err, ErrCode):
		refuse(http.StatusNotFound, v.T.Bad)
		return
	case errors.Is(err, ErrConflict):
		refuse(http.StatusConflict, v.T.Conflict)
		return
	case errors.Is(err, ErrInvalid):
		refuse(http.StatusUnprocessableEntity, fmt.Sprintf(v.T.Invalid, strings.TrimPrefix(err.Error(), ErrInvalid.Error()+": ")))
		return
	default:
		d.Log.Error("a code could not be redeemed", "error", err)
		w.Header().Set("Retry-After", "5")
		problem.New(http.StatusServiceUnavailable, "not available now").Write(w, r)
		return
	}
	v.Done = &done{Device: got.Device.ID, Secret: got.Secret, Topic: Topic(&got.Device)}
	if at := d.At(r.Host); at != nil {
		v.Done.Host = fmt.Sprintf("%s:%d", at.Host, at.Port)
		if at.TLS {
			v.Done.Host += " (TLS)"
		}
	}
	render(w, http.StatusOK, v)
}

// At is where devices connect, nil where nowhere.
func (d *Desk) At(host string) *Endpoint {
	if d.Broker == nil {
		return nil
	}
	return d.Broker(host)
}
