# What shop-rotate may do. Made by `strongroom policy render`.

path "secret/data/.strongroom/rotation/shop/session-key" {
  capabilities = ["create", "read", "update"]
}

path "secret/data/shop/session-key" {
  capabilities = ["create", "read", "update"]
}

path "secret/destroy/.strongroom/rotation/shop/session-key" {
  capabilities = ["update"]
}

path "secret/metadata/.strongroom/rotation/shop/session-key" {
  capabilities = ["read"]
}

path "secret/metadata/shop/session-key" {
  capabilities = ["read"]
}
