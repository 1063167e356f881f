// This begins with something else.
package wrong
