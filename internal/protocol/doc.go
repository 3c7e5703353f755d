// Package protocol lets a program be built that speaks one version less, with the
// tag dfaas_previous. Tests upgrade from such programs; nobody installs them.
package protocol
