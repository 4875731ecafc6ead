package live

import (
	"maps"
	"testing"
)

func TestCameraMinute(t *testing.T) {
	some := CameraCell{Class: "car", In: 7, Out: 2, Queue: 3, Present: 1.26}
	few := CameraCell{Class: "bus", Hidden: true}
	vehicles := func(in, out, present, queued any) map[string]any {
		return map[string]any{"vehicles_in": in, "vehicles_out": out, "vehicles_present": present, "vehicles_queued": queued}
	}
	for _, tc := range []struct {
		name    string
		cells   []CameraCell
		classes []string
		working bool
		want    map[string]any
	}{
		{"counted", []CameraCell{some}, []string{"car"}, true, vehicles(7.0, 2.0, 1.3, 3.0)},
		{"two classes", []CameraCell{some, {Class: "van", In: 5, Queue: 1, Present: 1}}, nil, false, vehicles(12.0, 2.0, 2.3, 4.0)},
		{"few beside others", []CameraCell{some, few}, []string{"car", "bus"}, true, vehicles(7.0, 2.0, 1.3, 3.0)},
		{"few alone", []CameraCell{few}, []string{"car", "bus"}, true, vehicles("<5", "<5", "<5", "<5")},
		{"nobody", nil, []string{"car"}, true, vehicles(0.0, 0.0, 0.0, 0.0)},
		{"silent", nil, []string{"car"}, false, vehicles(nil, nil, nil, nil)},
		{"never counted", nil, nil, true, map[string]any{}},
		{"no group's class", []CameraCell{{Class: "bag", In: 9}}, []string{"bag"}, true, map[string]any{}},
	} {
		if got := CameraMinute(tc.cells, tc.classes, tc.working, 5); !maps.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}
