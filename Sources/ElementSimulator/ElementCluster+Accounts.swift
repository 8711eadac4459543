import BlockStorage

extension ElementCluster {
    static let accountMethods: [String: Method] = [
        "AddAccount": { (cluster, parameters) throws(ElementError) in try cluster.addAccount(&parameters) },
        "GetAccountByID": { (cluster, parameters) throws(ElementError) in
            ["account": cluster.json(try cluster.account(parameters.required("accountID")))]
        },
        "GetAccountByName": { (cluster, parameters) throws(ElementError) in
            let name: String = try parameters.required("username")
            guard let account = cluster.account(named: name) else { throw .unknownAccount(name) }
            return ["account": cluster.json(account)]
        },
        "ListAccounts": { (cluster, parameters) throws(ElementError) in
            parameters.ignore("includeStorageContainers")
            let page = try page(
                cluster.state.accounts, from: parameters.optional("startAccountID"), limit: parameters.optional("limit")
            )
            return ["accounts": .array(page.map(cluster.json))]
        },
        "ModifyAccount": { (cluster, parameters) throws(ElementError) in try cluster.modifyAccount(&parameters) },
        "RemoveAccount": { (cluster, parameters) throws(ElementError) in
            let id: Int = try parameters.required("accountID")
            _ = try cluster.account(id)
            guard !cluster.state.volumes.values.contains(where: { $0.accountID == id }) else {
                throw .accountHasVolumes(id)
            }
            cluster.state.accounts[id] = nil
            return [:]
        },
    ]

    private func account(named name: String) -> AccountRecord? {
        state.accounts.values.first { $0.username == name }
    }

    private mutating func addAccount(_ parameters: inout Parameters) throws(ElementError) -> JSONValue {
        let username: String = try parameters.required("username")
        try checkName(username, "username")
        guard account(named: username) == nil else { throw .duplicateUsername(username) }
        guard state.accounts.count < limits.accountCount else { throw .exceeded("Exceeded maximum number of accounts") }
        let initiatorSecret = try secret("initiatorSecret", &parameters) ?? makeSecret()
        let targetSecret = try secret("targetSecret", &parameters) ?? makeSecret()
        let account = AccountRecord(
            accountID: state.takeID(), username: username, status: .active,
            initiatorSecret: StoredSecret(initiatorSecret),
            targetSecret: StoredSecret(targetSecret), enableChap: try parameters.optional("enableChap") ?? true,
            attributes: try checkAttributes(parameters.optional("attributes")) ?? [:])
        try checkSecrets(account)
        state.accounts[account.accountID] = account
        return ["account": json(account), "accountID": .integer(account.accountID)]
    }

    private mutating func modifyAccount(_ parameters: inout Parameters) throws(ElementError) -> JSONValue {
        var account = try account(parameters.required("accountID"))
        if let username: String = try parameters.optional("username"), username != account.username {
            try checkName(username, "username")
            guard self.account(named: username) == nil else { throw .duplicateUsername(username) }
            account.username = username
        }
        if let status: AccountRecord.Status = try parameters.choice("status") { account.status = status }
        if let secret = try secret("initiatorSecret", &parameters) { account.initiatorSecret = StoredSecret(secret) }
        if let secret = try secret("targetSecret", &parameters) { account.targetSecret = StoredSecret(secret) }
        if let enableChap: Bool = try parameters.optional("enableChap") { account.enableChap = enableChap }
        if let attributes = try checkAttributes(parameters.optional("attributes")) { account.attributes = attributes }
        try checkSecrets(account)
        state.accounts[account.accountID] = account
        return ["account": json(account)]
    }

    /// A secret that is printable, without spaces and commas, which some targets cannot take.
    private func secret(_ name: String, _ parameters: inout Parameters) throws(ElementError) -> Secret? {
        guard let text: String = try parameters.optional(name) else { return nil }
        let length = limits.secretLength
        guard length.contains(text.utf8.count),
            text.utf8.allSatisfy({ (0x21...0x7e).contains($0) && $0 != UInt8(ascii: ",") })
        else {
            throw .invalid("member=[\(name)] has \(length.lowerBound) to \(length.upperBound) printable characters")
        }
        return Secret(text)
    }

    /// CHAP in both directions with one secret would prove nothing.
    private func checkSecrets(_ account: AccountRecord) throws(ElementError) {
        guard account.initiatorSecret != account.targetSecret else {
            throw .invalid("initiatorSecret and targetSecret differ")
        }
    }

    private func json(_ account: AccountRecord) -> JSONValue {
        let volumes = state.volumes.values.filter { $0.accountID == account.accountID }.map(\.volumeID).sorted()
        return [
            "accountID": .integer(account.accountID), "attributes": .object(account.attributes),
            "enableChap": .bool(account.enableChap), "initiatorSecret": account.initiatorSecret.json,
            "status": .string(account.status.rawValue), "storageContainerID": "00000000-0000-0000-0000-000000000000",
            "targetSecret": account.targetSecret.json, "username": .string(account.username),
            "volumes": JSONValue(volumes),
        ]
    }
}
