// Package driver finds the CUDA driver when the process starts, and calls it.
//
// It defines every driver function that the program refers to as a jump into
// libcuda.so.1, which it opens by itself. So a program links without a driver,
// starts without one, and uses functions that are newer than the headers it was
// compiled with. The empty archive libcuda.a beside the sources answers the
// -lcuda of gorgonia.org/cu. The jumps are hidden: a shared library made of this
// never takes the driver's place in the process that loads it.
//
// What gorgonia.org/cu lacks is called here, in C without CUDA's headers, whose
// types change from version to version; the driver's interface does not.
// Functions return a CUresult as an int. Without the tag cuda the package is
// empty.
package driver
