package vds

import "slices"

func goldens() []golden { return slices.Concat(axisGoldens()) }

func refusals() []refusal { return slices.Concat(axisRefusals()) }
