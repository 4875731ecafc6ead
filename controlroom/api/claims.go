package api

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"panormus/controlroom/auth/accounts"
	"panormus/controlroom/claims"
	"panormus/controlroom/live"
	"panormus/controlroom/problem"
	"panormus/devices"
)

// claimItem is a claim as it is shown.
type claimItem struct {
	ID       string            `json:"id"`
	State    string            `json:"state" enum:"open,used,expired"`
	Domain   string            `json:"domain"`
	Profile  string            `json:"profile,omitempty"`
	Zone     string            `json:"zone,omitempty"`
	Tags     map[string]string `json:"tags,omitempty"`
	Device   string            `json:"device,omitempty" doc:"the one that it is for, or that came in by it"`
	Note     string            `json:"note,omitempty"`
	By       string            `json:"by,omitempty" doc:"who made it"`
	Created  live.Stamp        `json:"created"`
	Expires  live.Stamp        `json:"expires"`
	Redeemed *live.Stamp       `json:"redeemed" doc:"null: not yet"`
	Code     string            `json:"code,omitempty" doc:"of a new one; shown once"`
	Path     string            `json:"path,omitempty" doc:"of a new one: the page with the code, for a QR; behind this server's address"`
}

// claimShape is what is posted.
type claimShape struct {
	Count   int               `json:"count,omitempty" minimum:"1" maximum:"1000" doc:"how many; default 1"`
	Domain  string            `json:"domain,omitempty" doc:"may be left out for a device that is registered"`
	Profile string            `json:"profile,omitempty"`
	Zone    string            `json:"zone,omitempty" doc:"empty: by the place"`
	Tags    map[string]string `json:"tags,omitempty"`
	Device  string            `json:"device,omitempty" doc:"for this one alone, which may be registered: it gets another secret"`
	Note    string            `json:"note,omitempty" maxLength:"500"`
	Expires *live.Stamp       `json:"expires,omitempty" doc:"within 366 days; default in 30"`
}

type claimsBody struct {
	Body struct {
		Claims []claimItem `json:"claims"`
		Next   string      `json:"next,omitempty"`
	}
}

type redeemShape struct {
	Code   string   `json:"code" maxLength:"40"`
	Device string   `json:"device,omitempty" maxLength:"128" doc:"its id or serial number; default: as the claim says, or made up"`
	Name   string   `json:"name,omitempty" maxLength:"256"`
	Lat    *float64 `json:"lat,omitempty"`
	Lon    *float64 `json:"lon,omitempty"`
}

type redeemInput struct {
	RawBody []byte
	request *http.Request
}

// Resolve keeps the request: how it came and from where.
func (in *redeemInput) Resolve(ctx huma.Context) []error {
	in.request, _ = humago.Unwrap(ctx)
	return nil
}

type redeemedBody struct {
	Body struct {
		Device   devices.Device   `json:"device"`
		MQTT     *claims.Endpoint `json:"mqtt" doc:"where it connects; null: no broker of this process's own"`
		Username string           `json:"username"`
		Secret   string           `json:"secret" doc:"told now and never again"`
		Topic    string           `json:"topic" doc:"where it publishes"`
	}
}

func claimOf(c claims.Claim, use claims.Use, used bool, now time.Time) claimItem {
	out := claimItem{
		ID: c.ID, State: "open", Domain: c.Domain, Profile: c.Profile, Zone: c.Zone, Tags: c.Tags, Device: c.Device, Note: c.Note, By: c.By,
		Created: live.Stamp{Time: c.Created}, Expires: live.Stamp{Time: c.Expires},
	}
	switch {
	case used:
		out.State, out.Device, out.Redeemed = "used", use.Device, &live.Stamp{Time: use.At}
	case !now.Before(c.Expires):
		out.State = "expired"
	}
	return out
}

// claims are the operations on codes by which devices are let in.
func (a *api) claims() {
	const path = "/api/v1/claims"
	tags := []string{accessTag}
	register(a, huma.Operation{Method: http.MethodGet, Path: path, Summary: "Claims, in order of id", Tags: tags, Errors: []int{422, 501}},
		func(c *call, in *struct {
			Page
			State string `query:"state" enum:"open,used,expired"`
		}) (*claimsBody, error) {
			if a.Claims == nil {
				return nil, missing("claims")
			}
			all, uses := a.Claims.Book.All()
			now := time.Now()
			items := make([]claimItem, len(all))
			for i, cl := range all {
				use, used := uses[cl.ID]
				items[i] = claimOf(cl, use, used, now)
			}
			out := &claimsBody{}
			var err error
			out.Body.Claims, out.Body.Next, err = cut(in.Page, items, func(i claimItem) string { return i.ID }, func(i claimItem) bool { return in.State == "" || i.State == in.State })
			return out, err
		})
	register(a, huma.Operation{Method: http.MethodPost, Path: path, Summary: "Make claims, each with a code that lets one device in", Tags: tags, Errors: []int{400, 409, 422, 501, 503},
		Description: "The codes are in this answer and nowhere else.", RequestBody: bodyOf[claimShape](a, "What the devices will be, how many, and until when")},
		a.postClaims)
	register(a, huma.Operation{Method: http.MethodDelete, Path: path + "/{id}", Summary: "Remove a claim; a device that came in by it stays", Tags: tags, Errors: []int{404, 501, 503}},
		func(c *call, in *idOnly) (*struct{}, error) {
			if a.Claims == nil {
				return nil, missing("claims")
			}
			err := a.Claims.Book.Delete(c.ctx, in.ID)
			if errors.Is(err, claims.ErrNotFound) {
				return nil, noSuch("claim", in.ID)
			}
			if err != nil {
				return nil, c.away("the claims", err)
			}
			return nil, nil
		})
	register(a, huma.Operation{Method: http.MethodPost, Path: path + "/redeem", Summary: "Redeem a code: enter a device and be told its secret, once", Tags: tags, Errors: []int{400, 404, 409, 422, 429, 501, 503},
		Description: "Needs no credentials but the code, and HTTPS unless it is on this machine. A code that is unknown, used or has run out is 404; after ten wrong ones from an address there is a pause.",
		RequestBody: bodyOf[redeemShape](a, "The code, and what is to be told of the device")},
		a.redeem)
}

func (a *api) postClaims(c *call, in *struct{ RawBody []byte }) (*claimsBody, error) {
	if a.Claims == nil {
		return nil, missing("claims")
	}
	b := claimShape{Count: 1}
	if err := devices.StrictJSON(in.RawBody, &b); err != nil {
		return nil, badBody(err)
	}
	want := claims.Claim{Domain: b.Domain, Profile: b.Profile, Zone: b.Zone, Tags: b.Tags, Device: b.Device, Note: b.Note, By: c.actor()}
	if b.Expires != nil {
		want.Expires = b.Expires.Time
	}
	if err := a.Claims.Book.Check(want, b.Count); err != nil {
		return nil, c.claimFault(err)
	}
	if err := c.note("claims.made", "claims", map[string]string{"count": strconv.Itoa(b.Count), "domain": b.Domain, "zone": clipped(b.Zone), "device": b.Device}); err != nil {
		return nil, err
	}
	made, codes, err := a.Claims.Book.Make(c.ctx, want, b.Count)
	if err != nil {
		return nil, c.claimFault(err)
	}
	out := &claimsBody{}
	for i, cl := range made {
		item := claimOf(cl, claims.Use{}, false, time.Now())
		item.Code, item.Path = codes[i], claims.Path+"#"+codes[i]
		out.Body.Claims = append(out.Body.Claims, item)
	}
	return out, nil
}

func (a *api) redeem(c *call, in *redeemInput) (*redeemedBody, error) {
	if a.Claims == nil {
		return nil, missing("claims")
	}
	var b redeemShape
	if err := devices.StrictJSON(in.RawBody, &b); err != nil {
		return nil, badBody(err)
	}
	if !accounts.Secure(in.request) {
		return nil, problem.New(http.StatusForbidden, "a secret is told over HTTPS only, or on this machine")
	}
	got, err := a.Claims.Redeem(c.ctx, claims.Redemption{Code: b.Code, Device: b.Device, Name: b.Name, Lat: b.Lat, Lon: b.Lon, Remote: in.request.RemoteAddr})
	if err != nil {
		return nil, c.claimFault(err)
	}
	out := &redeemedBody{}
	out.Body.Device, out.Body.MQTT = got.Device, a.Claims.At(in.request.Host)
	out.Body.Username, out.Body.Secret, out.Body.Topic = got.Device.ID, got.Secret, claims.Topic(&got.Device)
	return out, nil
}

func (c *call) claimFault(err error) error {
	if wait, ok := errors.AsType[claims.Wait](err); ok {
		seconds := strconv.Itoa(int(math.Ceil(time.Duration(wait).Seconds())))
		return huma.ErrorWithHeaders(problem.New(http.StatusTooManyRequests, "%v", err), http.Header{"Retry-After": {seconds}})
	}
	switch {
	case errors.Is(err, claims.ErrInvalid):
		return badBody(&devices.FormatError{Err: errors.New(strings.TrimPrefix(err.Error(), claims.ErrInvalid.Error()+": "))})
	case errors.Is(err, claims.ErrConflict):
		return problem.New(http.StatusConflict, "%v", err)
	case errors.Is(err, claims.ErrCode):
		return problem.New(http.StatusNotFound, "%v", err)
	}
	return c.away("the claims", err)
}
