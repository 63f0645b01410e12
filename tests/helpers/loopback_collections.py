"""The collections of the loopback Hub."""

import json
import re


class CollectionHandlers:
    """Methods of the loopback Hub's handler."""

    def list_collections(self, body, query) -> None:
        found = [one for one in self.hub.collections.values() if one["owner"]["name"] in query["owner"]]
        # As the Hub does, at most four items of each; private ones are shown to those who may see them.
        shown = [{**one, "items": one["items"][:4]} for one in found if self.token or not one["private"]]
        self._json([{key: value for key, value in one.items() if key != "position"} for one in shown])

    def create_collection(self, body, query) -> None:
        asked = json.loads(body)
        base = f"{asked['namespace']}/{re.sub('[^a-z0-9]+', '-', asked['title'].lower()).strip('-')}"
        slug = next((slug for slug in self.hub.collections if slug.rpartition("-")[0] == base), None)
        if slug:
            return self._json({"error": "This collection already exists", "slug": slug}, 409)
        slug = f"{base}-{len(self.hub.collections):024x}"
        entry = {key: asked.get(key) for key in ("title", "description", "private")}
        entry |= {
            "slug": slug,
            "owner": {"name": asked["namespace"]},
            "items": [],
            "lastUpdated": "2026-01-01T00:00:00.000Z",
        }
        self.hub.collections[slug] = {**entry, "position": 0, "theme": "blue", "upvotes": 0}
        self._json(self.hub.collections[slug])

    def collection(self, slug, body, query) -> None:
        found = self.hub.collections.get(slug)
        if found is None or (found["private"] and self.token is None):
            return self._error(404, None, "Collection not found")
        return self._json(found)

    def add_item(self, slug, body, query) -> None:
        asked, found = json.loads(body), self.hub.collections[slug]
        item = asked["item"]
        if any((one["id"], one["type"]) == (item["id"], item["type"]) for one in found["items"]):
            return self._error(409, None, "This item is already in the collection")
        if item["id"] not in self.hub.repositories:
            return self._error(404, None, "Item not found")
        position = len(found["items"])
        note = {"text": asked["note"]} if "note" in asked else None
        found["items"].append({**item, "_id": f"{position:024x}", "position": position, "note": note})
        return self._json(found)


_SLUG = r"([\w.-]+/[\w.-]+)"
COLLECTION_ROUTES = [
    ("GET", r"/api/collections", "list_collections"),
    ("POST", r"/api/collections", "create_collection"),
    ("GET", rf"/api/collections/{_SLUG}", "collection"),
    ("POST", rf"/api/collections/{_SLUG}/items", "add_item"),
]
