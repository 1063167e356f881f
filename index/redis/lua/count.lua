-- count, in a cluster: numbers a change, which may have had steps in many scopes.
return call('INCR', G .. 'q')
