package vds

import "panormus/stream/batch"

// classes are the words of vendors, in lower case and without what is no letter.
var classes = map[string]string{
	"person": batch.ClassPerson, "human": batch.ClassPerson, "people": batch.ClassPerson, "pedestrian": batch.ClassPerson,
	"humanbody": batch.ClassPerson, "rider": batch.ClassPerson, "nonmotor": batch.ClassBicycle,
	"head": batch.ClassHead, "humanhead": batch.ClassHead, "face": batch.ClassFace, "humanface": batch.ClassFace,
	"bicycle": batch.ClassBicycle, "bike": batch.ClassBicycle, "cyclist": batch.ClassBicycle, "twowheeler": batch.ClassMotorcycle,
	"motorcycle": batch.ClassMotorcycle, "motorbike": batch.ClassMotorcycle, "moped": batch.ClassMotorcycle, "scooter": batch.ClassMotorcycle,
	"car": batch.ClassCar, "suv": batch.ClassCar, "sedan": batch.ClassCar, "taxi": batch.ClassCar, "passengercar": batch.ClassCar,
	"saloon": batch.ClassCar, "saloncar": batch.ClassCar, "salooncar": batch.ClassCar, "hatchback": batch.ClassCar, "microcar": batch.ClassCar,
	"crossover": batch.ClassCar, "wagon": batch.ClassCar, "antique": batch.ClassCar,
	"van": batch.ClassVan, "minivan": batch.ClassVan, "pickup": batch.ClassVan, "pickuptruck": batch.ClassVan,
	"truck": batch.ClassTruck, "lorry": batch.ClassTruck, "bigtruck": batch.ClassTruck, "heavytruck": batch.ClassTruck, "lighttruck": batch.ClassTruck, "midtruck": batch.ClassTruck, "tractor": batch.ClassTruck, "trailer": batch.ClassTruck,
	"bus": batch.ClassBus, "coach": batch.ClassBus, "largebus": batch.ClassBus, "minibus": batch.ClassBus, "midbus": batch.ClassBus, "train": batch.ClassTrain, "tram": batch.ClassTrain,
	// ONVIF's enumeration really has the misspelling.
	"vehicle": batch.ClassVehicle, "vehical": batch.ClassVehicle, "motorvehicle": batch.ClassVehicle, "othervehicle": batch.ClassVehicle,
	"animal": batch.ClassAnimal, "dog": batch.ClassAnimal, "cat": batch.ClassAnimal, "bird": batch.ClassAnimal, "horse": batch.ClassAnimal,
	"bag": batch.ClassBag, "backpack": batch.ClassBag, "suitcase": batch.ClassBag, "handbag": batch.ClassBag, "luggage": batch.ClassBag,
	"licenseplate": batch.ClassPlate, "plate": batch.ClassPlate, "numberplate": batch.ClassPlate,
	"unknown": batch.ClassUnknown, "other": batch.ClassUnknown, "": batch.ClassUnknown,
}

// maxClass is how long a vendor's word may be to be looked up.
const maxClass = 40

// Class is the model's word for a vendor's, ClassUnknown where there is none. It does not allocate.
func Class(vendor string) string {
	var buf [maxClass]byte
	n := 0
	for i := range len(vendor) {
		c := vendor[i] | 0x20
		if c < 'a' || c > 'z' {
			continue
		}
		if n == maxClass {
			return batch.ClassUnknown
		}
		buf[n] = c
		n++
	}
	if c, ok := classes[string(buf[:n])]; ok {
		return c
	}
	return batch.ClassUnknown
}
