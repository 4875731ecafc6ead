package vds

import "slices"

func goldens() []golden { return slices.Concat(axisGoldens(), vendorGoldens()) }

func refusals() []refusal { return slices.Concat(axisRefusals(), vendorRefusals()) }
