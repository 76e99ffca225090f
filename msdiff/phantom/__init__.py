"""The embedded simulator: anatomy, lesion process, treatment activity and scans."""
