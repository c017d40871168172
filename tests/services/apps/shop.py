"""A shop as people write them with Flask: pages, a session, orders that must not come twice, uploads.

Every process of it is told its name and one file for all orders, as they would share a database.
"""

import hashlib
import os

from flask import Flask, Response, abort, jsonify, redirect, request, session, url_for
from werkzeug.middleware.proxy_fix import ProxyFix

app = Flask(__name__)
app.secret_key = "the same everywhere"
app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)

NAME = os.environ["SHOP_NAME"]
ORDERS = os.environ["SHOP_ORDERS"]


@app.after_request
def sign(response):
    response.headers["X-Peer"] = NAME
    return response


@app.get("/")
def front():
    user = session.get("user", "stranger")
    return f"<!DOCTYPE html><title>Shop</title><p>Welcome, {user}!\n"


@app.post("/login")
def login():
    session["user"] = request.form["user"]
    # An absolute address: right only if the proxy says how the client came here.
    return redirect(url_for("front", _external=True))


@app.post("/orders")
def order():
    # A line at once is written whole.
    with open(ORDERS, "a", buffering=1) as orders:
        orders.write(request.get_json()["id"] + "\n")
    return jsonify(id=request.get_json()["id"]), 201


@app.put("/items/<int:number>")
def put(number):
    return jsonify(number=number, length=len(request.get_data()))


@app.post("/photos")
def photo():
    sent = request.files["photo"]
    return jsonify(name=sent.filename, sha256=hashlib.sha256(sent.read()).hexdigest())


@app.get("/report")
def report():
    # No length is known beforehand: chunked.
    def rows():
        for number in range(2000):
            yield f"{number},item {number}\n"

    return Response(rows(), mimetype="text/csv")


@app.get("/page")
def page():
    response = Response("a page that seldom changes\n" * 50)
    response.add_etag()
    return response.make_conditional(request)


@app.get("/client")
def client():
    return jsonify(address=request.remote_addr, url=request.url)


@app.get("/missing")
def missing():
    abort(404)
