#if ISCSI
    import BlockStorage

    extension ElementClient {
        private struct One: Decodable, Sendable { var account: ElementAccount }
        private struct List: Decodable, Sendable { var accounts: [ElementAccount] }

        private struct Added: ElementMade {
            var accountID: Int64
            var madeID: Int64 { accountID }
        }

        /// All accounts, in the order of their numbers.
        public func accounts() async throws(StorageError) -> [ElementAccount] {
            try await pages("ListAccounts", "startAccountID") { (list: List) in list.accounts }
        }

        /// The account with this name, which no other has; nil where there is none.
        public func account(named name: String) async throws(StorageError) -> ElementAccount? {
            try await account(named: name, within: options.deadline)
        }

        private func account(
            named name: String, within time: Duration
        ) async throws(StorageError) -> ElementAccount? {
            try await account("GetAccountByName", ["username": .text(name)], within: time) { $0.name == name }
        }

        /// Nil where there is none with this number.
        public func account(_ id: Int64) async throws(StorageError) -> ElementAccount? {
            try await account("GetAccountByID", ["accountID": .integer(id)], within: options.deadline) { $0.id == id }
        }

        private func account(
            _ method: String, _ parameters: ElementParameters, within time: Duration,
            isMeant: (ElementAccount) -> Bool
        ) async throws(StorageError) -> ElementAccount? {
            let answer: One
            do throws(ElementCallFailure) {
                answer = try await callUntilRefused(method, parameters, within: time)
            } catch {
                if case .refused(let refusal) = error, refusal.code == .notFound { return nil }
                throw storageError(error, method, at: "", parameters)
            }
            guard isMeant(answer.account) else {
                throw failure(.inputOutput, method, "the array answers with another account")
            }
            return answer.account
        }

        /// Makes an account. Where no secret is given the array makes one up. Throws `alreadyExists` when the name is taken.
        public func addAccount(
            named name: String, initiatorSecret: Secret? = nil, targetSecret: Secret? = nil,
            attributes: ElementAttributes = [:]
        ) async throws(StorageError) -> ElementAccount {
            let what = "AddAccount"
            try attributes.check(what, at: name)
            var parameters: ElementParameters = ["username": .text(name), "attributes": .attributes(attributes)]
            if let initiatorSecret { parameters["initiatorSecret"] = .secret(initiatorSecret) }
            if let targetSecret { parameters["targetSecret"] = .secret(targetSecret) }
            let (id, _): (Int64, Added?) = try await make(what, at: name, parameters) { time throws(StorageError) in
                try await self.account(named: name, within: time).map { [$0.id] } ?? []
            } discard: { _ in
            }
            guard let account = try await account(id), account.name == name else {
                throw failure(.inputOutput, what, "account \(id) is not what the array was asked for")
            }
            return account
        }

        /// Sets what is given; what every host logs in with then.
        public func modifyAccount(
            _ id: Int64, initiatorSecret: Secret? = nil, targetSecret: Secret? = nil
        ) async throws(StorageError) {
            var parameters: ElementParameters = ["accountID": .integer(id)]
            if let initiatorSecret { parameters["initiatorSecret"] = .secret(initiatorSecret) }
            if let targetSecret { parameters["targetSecret"] = .secret(targetSecret) }
            let _: ElementNothing = try await call("ModifyAccount", at: "account \(id)", parameters)
        }

        /// Removes an account that has no volumes. One that is not there: success.
        public func removeAccount(_ id: Int64) async throws(StorageError) {
            try await remove("RemoveAccount", "account \(id)", ["accountID": .integer(id)])
        }
    }
#endif
