"""What ``manage.py`` finds in this application."""
