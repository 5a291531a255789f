# What shop may do. Made by `strongroom policy render`.

path "secret/data/shop/*" {
  capabilities = ["read"]
}

path "secret/metadata/shop/*" {
  capabilities = ["read"]
}
