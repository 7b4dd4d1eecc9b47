"""pbxhub: turns the stages of calls on your Asterisk into the HTTP requests that you set up."""

__version__ = "0.2.0"
