package c_test

import _ "example.org/bad/d"
