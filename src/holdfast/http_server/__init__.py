"""The HTTP/1.1 server: uvicorn with a bound on everything before the first call of the application.

docs/adr/0012-a-guarded-http-server.md says why. Imports nothing of ours: the services and the payment
provider simulator both serve with it.
"""
