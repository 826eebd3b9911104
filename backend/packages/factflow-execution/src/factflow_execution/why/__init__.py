"""Why an execution, a route or a message is where it is.

Facts are gathered once for each question (`gathering`), and judged by functions of these facts alone
(`execution_causes`, `route_causes`, `message_causes`); `service` finds out what a question is about.
"""
